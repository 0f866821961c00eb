"""What a dissection takes at another scale: more images, more concepts, more processes, other machines."""
