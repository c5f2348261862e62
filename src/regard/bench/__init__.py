"""Speed: ours and the peers' on the same weights, the same pixels and the same machine, interleaved."""
