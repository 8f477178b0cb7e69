"""Small neural nets behind the protocol of `zl_assets.core.models.base`; TensorFlow is needed to fit, not to import."""
