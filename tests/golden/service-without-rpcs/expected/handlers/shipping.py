"""Service `shipping`.

`sagagen generate` created this file once; from now on it is yours.
"""

from generated.services.shipping import ShippingHandlers


class ShippingService(ShippingHandlers):
    pass
