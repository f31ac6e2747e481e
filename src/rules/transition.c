/*
 * transition.c
 *		The state machine as data: which verb leads from which state to which.
 *
 * Every change of an event's state, whoever makes it, is looked up here.
 * SQL reads the table as evq.transition, and a regression test dumps it, so
 * that a changed rule is a reviewable diff.
 */
#include "postgres.h"

#include "rules/transition.h"

#define NONE EVQ_STATE_NONE
#define AWAITING EVQ_STATE_AWAITING_PROCESSING
#define DISPATCHED EVQ_STATE_DISPATCHED
#define PROCESSING EVQ_STATE_BEING_PROCESSED
#define SUSPENDED EVQ_STATE_SUSPENDED
#define SUCCEEDED EVQ_STATE_SUCCEEDED
#define FAILED EVQ_STATE_FAILED
#define EXPIRED EVQ_STATE_EXPIRED
#define CANCELED EVQ_STATE_CANCELED

/* clang-format off */
const EvqTransition evq_transition_table[] = {
	{NONE, EVQ_VERB_PUBLISH, AWAITING, "times come from the event type's configuration"},
	{AWAITING, EVQ_VERB_DISPATCH, DISPATCHED, "due, type not suspended, window not full, flow_id not blocked"},
	{DISPATCHED, EVQ_VERB_DISPATCH_TIMEOUT, AWAITING, "nobody acquired it; no attempt is used up"},
	{DISPATCHED, EVQ_VERB_ACQUIRE, PROCESSING, "grants a permit"},
	{AWAITING, EVQ_VERB_ACQUIRE, PROCESSING, "due; grants a permit"},
	{PROCESSING, EVQ_VERB_SUCCEED, SUCCEEDED, "with the spinoff events, in one transaction"},
	{PROCESSING, EVQ_VERB_FAIL, AWAITING, "attempts and lifespan left; an attempt is used up"},
	{PROCESSING, EVQ_VERB_FAIL, FAILED, "none left, or not retryable; publishes the on-fail event"},
	{PROCESSING, EVQ_VERB_PERMIT_TIMEOUT, AWAITING, "attempts and lifespan left; an attempt is used up"},
	{PROCESSING, EVQ_VERB_PERMIT_TIMEOUT, FAILED, "none left; publishes the on-fail event"},
	{PROCESSING, EVQ_VERB_SUSPEND, SUSPENDED, "waits for a trigger until a timeout; no attempt is used up"},
	{PROCESSING, EVQ_VERB_SUSPEND, AWAITING, "the trigger came before; no attempt is used up"},
	{PROCESSING, EVQ_VERB_SNOOZE, AWAITING, "given back until a time; no attempt is used up"},
	{PROCESSING, EVQ_VERB_RELEASE, AWAITING, "given back at once; no attempt is used up"},
	{SUSPENDED, EVQ_VERB_ACTIVATE, AWAITING, "the trigger came; may bring an answer, and merge a patch into the payload"},
	{SUSPENDED, EVQ_VERB_SUCCEED, SUCCEEDED, "by who suspended it, with its permit"},
	{SUSPENDED, EVQ_VERB_FAIL, AWAITING, "by who suspended it, with its permit; attempts and lifespan left"},
	{SUSPENDED, EVQ_VERB_FAIL, FAILED, "by who suspended it, with its permit; none left, or not retryable"},
	{SUSPENDED, EVQ_VERB_SUSPEND_TIMEOUT, AWAITING, "the type says retry"},
	{SUSPENDED, EVQ_VERB_SUSPEND_TIMEOUT, EXPIRED, "the type says expire, or the lifespan is over; publishes the on-fail event"},
	{AWAITING, EVQ_VERB_LIFESPAN_OVER, EXPIRED, "publishes the on-fail event"},
	{DISPATCHED, EVQ_VERB_LIFESPAN_OVER, EXPIRED, "publishes the on-fail event"},
	{AWAITING, EVQ_VERB_LIFESPAN_UNUSED, EXPIRED, "no worker has acquired it; publishes the on-fail event"},
	{DISPATCHED, EVQ_VERB_LIFESPAN_UNUSED, EXPIRED, "no worker has acquired it; publishes the on-fail event"},
	{AWAITING, EVQ_VERB_CANCEL, CANCELED, ""},
	{DISPATCHED, EVQ_VERB_CANCEL, CANCELED, ""},
	{PROCESSING, EVQ_VERB_CANCEL, CANCELED, "its worker learns so from heartbeat or report"},
	{SUSPENDED, EVQ_VERB_CANCEL, CANCELED, ""},
	{FAILED, EVQ_VERB_RETRY, AWAITING, "fresh attempts and lifespan"},
	{EXPIRED, EVQ_VERB_RETRY, AWAITING, "fresh attempts and lifespan"},
	{CANCELED, EVQ_VERB_RETRY, AWAITING, "fresh attempts and lifespan"},
};
/* clang-format on */

const int evq_transition_count = lengthof(evq_transition_table);

StaticAssertDecl(lengthof(evq_transition_table) <= EVQ_MAX_TRANSITIONS, "EVQ_MAX_TRANSITIONS is too small");

static const struct
{
	const char *name;
	char code; /* as stored; evq.state_name() knows the same */
} states[EVQ_STATE_COUNT] = {
	[NONE] = {NULL, '\0'},
	[AWAITING] = {"awaiting_processing", 'a'},
	[DISPATCHED] = {"dispatched", 'd'},
	[PROCESSING] = {"being_processed", 'p'},
	[SUSPENDED] = {"suspended", 'u'},
	[SUCCEEDED] = {"succeeded", 's'},
	[FAILED] = {"failed", 'f'},
	[EXPIRED] = {"expired", 'e'},
	[CANCELED] = {"canceled", 'c'},
};

static const char *const verb_names[] = {
	[EVQ_VERB_PUBLISH] = "publish",
	[EVQ_VERB_DISPATCH] = "dispatch",
	[EVQ_VERB_DISPATCH_TIMEOUT] = "dispatch_timeout",
	[EVQ_VERB_ACQUIRE] = "acquire",
	[EVQ_VERB_SUCCEED] = "succeed",
	[EVQ_VERB_FAIL] = "fail",
	[EVQ_VERB_PERMIT_TIMEOUT] = "permit_timeout",
	[EVQ_VERB_SUSPEND] = "suspend",
	[EVQ_VERB_SNOOZE] = "snooze",
	[EVQ_VERB_RELEASE] = "release",
	[EVQ_VERB_ACTIVATE] = "activate",
	[EVQ_VERB_SUSPEND_TIMEOUT] = "suspend_timeout",
	[EVQ_VERB_LIFESPAN_OVER] = "lifespan_over",
	[EVQ_VERB_LIFESPAN_UNUSED] = "lifespan_unused",
	[EVQ_VERB_CANCEL] = "cancel",
	[EVQ_VERB_RETRY] = "retry",
};

/* The row of the table that allows this change; EVQ_NO_TRANSITION = none does. */
int
evq_transition_find(EvqState from, EvqVerb verb, EvqState to)
{
	for (int i = 0; i < evq_transition_count; i++)
	{
		const EvqTransition *t = &evq_transition_table[i];

		if (t->from == from && t->verb == verb && t->to == to)
			return i;
	}
	return EVQ_NO_TRANSITION;
}

/* Does the verb lead anywhere from this state? */
bool
evq_transition_can(EvqState from, EvqVerb verb)
{
	for (int i = 0; i < evq_transition_count; i++)
	{
		if (evq_transition_table[i].from == from && evq_transition_table[i].verb == verb)
			return true;
	}
	return false;
}

/* Is an event in this state finished? Its row is in the history then. */
bool
evq_transition_is_final(EvqState state)
{
	return state >= EVQ_STATE_SUCCEEDED;
}

/* The name of a state as SQL has it; NULL for EVQ_STATE_NONE. */
const char *
evq_transition_state_name(EvqState state)
{
	return states[state].name;
}

/* The name of a verb, for the transition table, counters and errors. */
const char *
evq_transition_verb_name(EvqVerb verb)
{
	return verb_names[verb];
}

/* The one character that stands for a state in the tables. */
char
evq_transition_state_code(EvqState state)
{
	return states[state].code;
}

/* EVQ_STATE_NONE for a code that evq does not write. */
EvqState
evq_transition_state_from_code(char code)
{
	for (int i = EVQ_STATE_NONE + 1; i < EVQ_STATE_COUNT; i++)
	{
		if (states[i].code == code)
			return (EvqState) i;
	}
	return EVQ_STATE_NONE;
}
