"""What a head's loss terms compare, and how they are taken; pairing rules."""
