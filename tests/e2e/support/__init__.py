"""An S3 store and a mail catcher in one pod."""
