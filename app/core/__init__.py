"""What every layer stands on. It knows none of them."""
