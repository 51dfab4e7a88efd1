"""A Bitcoin node as the source of work: getblocktemplate in, submitblock out (BIP 22, 23, 145)."""
