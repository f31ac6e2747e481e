"""The flows and event types of the attack tests: what attack_client.py publishes and attack_check.py expects of them."""

# few: their flow_ids are few, so that events wait for each other.
FLOWS = {
    "PUSH": {"delivery": "push", "dispatch_timeout": "2 s"},
    "PULL": {"delivery": "pull", "dispatch_timeout": "2 s"},
    "ORDER": {"delivery": "push", "ordered": True, "dispatch_timeout": "2 s", "few": True},
    "LIMIT": {"delivery": "push", "max_processing": 4, "dispatch_timeout": "2 s"},
    "BOTH": {"delivery": "pull", "ordered": True, "max_processing": 3, "dispatch_timeout": "2 s", "few": True},
}

# Of each flow one type that may be suspended, one with little time, and what is published when those fail.
TYPES = {}
for flow in FLOWS:
    TYPES[f"{flow}.plain"] = {"flow": flow, "max_attempts": 3, "lifespan": "1 hour", "attempt_delays": "{0 s, 1 s}", "attempt_timeout": "3 s",
                              "on_suspend_timeout": "retry", "on_fail_event_type": f"{flow}.failed"}
    TYPES[f"{flow}.hasty"] = {"flow": flow, "max_attempts": 2, "lifespan": "15 s", "attempt_delays": "{0 s}", "attempt_timeout": "2 s",
                              "on_suspend_timeout": "expire", "on_fail_event_type": f"{flow}.failed"}
    TYPES[f"{flow}.failed"] = {"flow": flow, "max_attempts": 4, "lifespan": "1 hour", "attempt_delays": "{0 s, 500 ms}", "attempt_timeout": "3 s",
                               "on_suspend_timeout": "retry", "published": False}
# One that leaves nothing when it succeeds.
TYPES["PULL.gone"] = TYPES["PULL.plain"] | {"retention": "0 s"}
TYPES["ORDER.gone"] = TYPES["ORDER.plain"] | {"retention": "0 s"}

# No configuration of the tests allows more.
MOST_ATTEMPTS = 6


def configuration():
    """SQL that makes all this."""
    def arguments(given):
        return "".join(f", {name} => '{value}'" for name, value in given.items())

    return ([f"SELECT evq_configure_flow('{flow}'{arguments({k: v for k, v in given.items() if k != 'few'})})" for flow, given in FLOWS.items()]
            + [f"SELECT evq_configure('{name}', '{given['flow']}'{arguments({k: v for k, v in given.items() if k not in ('flow', 'published', 'on_fail_event_type')})})"
               for name, given in TYPES.items()]
            + [f"SELECT evq_configure('{name}', on_fail_event_type => '{given['on_fail_event_type']}')"
               for name, given in TYPES.items() if "on_fail_event_type" in given])


if __name__ == "__main__":
    print(";\n".join(configuration()))
