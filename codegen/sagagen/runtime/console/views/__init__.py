"""The views, one module each, in the order of the navigation; and the forms that operators send."""

from sagagen.runtime.console.page import Form, View
from sagagen.runtime.console.views import (
    audit,
    definition,
    now,
    one_saga,
    orders_waiting,
    payloads,
    sagas,
    services,
    versions,
)

VIEWS: tuple[View, ...] = (
    now.VIEW,
    sagas.VIEW,
    definition.VIEW,
    versions.VIEW,
    services.VIEW,
    audit.VIEW,
    orders_waiting.VIEW,
    one_saga.VIEW,
    payloads.VIEW,
)
FORMS: tuple[Form, ...] = ()
