"""What each kind of node does next: one file a kind, all of them in `registry`. Pure."""
