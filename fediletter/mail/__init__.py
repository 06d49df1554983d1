"""Mail: composed once, filled as bytes, handed to a relay or caught in a Maildir.

Knows neither settings nor database nor clock; `now` is a parameter.
"""
