"""Reading histories."""

import json


def executions_lines(pages):
    """Log lines of executions; the line with which AWS tries a log group out is no JSON."""
    messages = [event["message"] for page in pages for event in page["events"]]
    return [json.loads(message) for message in messages if message.startswith("{")]


def entered(events):
    """Names of the states in the order they were entered."""
    return [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]


def span(events, state):
    """When a state was entered and left, in seconds; states of the order workflow are visited once."""
    at = {}
    for event in events:
        for kind in ("stateEnteredEventDetails", "stateExitedEventDetails"):
            if event.get(kind, {}).get("name") == state:
                at[kind] = event["timestamp"].timestamp()
    return at["stateEnteredEventDetails"], at["stateExitedEventDetails"]


def ancestors(events, event):
    """The event and what led to it, latest first."""
    by_id = {event["id"]: event for event in events}
    while event:
        yield event
        event = by_id.get(event.get("previousEventId"))


def state_of(events, event):
    """Name of the state in which an event happened."""
    for before in ancestors(events, event):
        if "stateEnteredEventDetails" in before:
            return before["stateEnteredEventDetails"]["name"]
    return None
