"""Imported before the shop's messages: leaves them to betterproto2 alone, as a hand-written service would have them."""

import betterproto2

from sagagen.runtime import wire

wire.Message = betterproto2.Message  # pyright: ignore[reportAttributeAccessIssue]
