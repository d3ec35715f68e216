"""Validates an order, prices it and says how it is to be handled."""

import threading

CATALOG = {  # sku: (name, price in cents, grams)
    "KETTLE-1L": ("Kettle, one litre", 8990, 900),
    "FILTER-100": ("Paper filters, 100 pieces", 1290, 150),
    "BEANS-1KG": ("Coffee beans, one kilogram", 6490, 1000),
}
FULFIL_FROM_CENTS = 20000


class InvalidOrder(Exception):
    """The customer's mistake: trying again would not help."""


class PriceServiceUnavailable(Exception):
    """Ours, and likely to pass."""


def handler(event, context):
    order, attempt = event["order"], event["attempt"]
    misbehave(order.get("simulate"), attempt, context)
    lines = [priced(line) for line in required(order, "lines")]
    total = sum(line["priceCents"] * line["quantity"] for line in lines)
    print(f"order {order['orderId']}: {len(lines)} lines, {total} cents, attempt {attempt}")
    return {
        "orderId": required(order, "orderId"),
        "customer": required(order, "customer"),
        "lines": lines,
        "totalCents": total,
        "handling": "FULFIL" if total >= FULFIL_FROM_CENTS else "STORE",
    }


def priced(line):
    sku, quantity = required(line, "sku"), required(line, "quantity")
    if sku not in CATALOG:
        raise InvalidOrder(f"unknown sku {sku!r}")
    if not isinstance(quantity, int) or quantity < 1:
        raise InvalidOrder(f"quantity of {sku} must be a whole number from 1, not {quantity!r}")
    name, price, grams = CATALOG[sku]
    return {"sku": sku, "name": name, "quantity": quantity, "priceCents": price, "grams": grams}


def required(source, field):
    if not source.get(field):
        raise InvalidOrder(f"{field} is missing")
    return source[field]


def misbehave(how, attempt, context):
    """Lets an input ask for trouble, to see what the workflow makes of it."""
    if how == "flaky" and attempt < 2:
        raise PriceServiceUnavailable(f"the price service is down (attempt {attempt})")
    if how == "broken":
        raise PriceServiceUnavailable("the price service is down for good")
    if how == "slow":
        threading.Event().wait(context.get_remaining_time_in_millis() / 1000)
