"""The forecasters, all behind the protocol of `base`."""
