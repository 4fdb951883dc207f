"""What ``doctor`` looks at: each check asks one live dependency and says what to do about what it finds."""
