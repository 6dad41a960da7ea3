"""Read and write blocks of pcapng (draft-ietf-opsawg-pcapng)."""
