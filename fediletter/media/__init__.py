"""Images, decoded and encoded anew; sounds without their tags; each in a child process."""
