"""What goes out: publishing, and one lane at a time to peers and to the mail relay."""
