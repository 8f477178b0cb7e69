"""What `dagster dev` and the webserver load."""

from zl_assets.build import build_definitions
from zl_assets.settings import Settings

defs = build_definitions(Settings())
