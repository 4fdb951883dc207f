"""The mail catcher: takes every mail by SMTP, keeps it, and shows it on a page and as JSON."""
