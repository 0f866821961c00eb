"""What a faster way of computing, which rounds differently, changes in a dissection."""
