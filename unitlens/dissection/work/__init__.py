"""What a dissection consists of: its passes over the images, where they are kept, and what is concluded from them."""
