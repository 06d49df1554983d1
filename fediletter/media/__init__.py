"""Images: decoded and encoded anew in a child process, stored under random names."""
