/*
 * transition.h
 *		The state machine as data. Pure: no SQL, no clock, no memory context.
 */
#ifndef EVQ_TRANSITION_H
#define EVQ_TRANSITION_H

#include "base/types.h"

typedef enum EvqVerb
{
	EVQ_VERB_PUBLISH,
	EVQ_VERB_DISPATCH,
	EVQ_VERB_DISPATCH_TIMEOUT,
	EVQ_VERB_ACQUIRE,
	EVQ_VERB_SUCCEED,
	EVQ_VERB_FAIL,
	EVQ_VERB_PERMIT_TIMEOUT,
	EVQ_VERB_SUSPEND,
	EVQ_VERB_SNOOZE,
	EVQ_VERB_RELEASE,
	EVQ_VERB_ACTIVATE,
	EVQ_VERB_SUSPEND_TIMEOUT,
	EVQ_VERB_LIFESPAN_OVER,
	EVQ_VERB_LIFESPAN_UNUSED, /* the same, and no worker had ever acquired it */
	EVQ_VERB_CANCEL,
	EVQ_VERB_RETRY
} EvqVerb;

typedef struct EvqTransition
{
	EvqState from;
	EvqVerb verb;
	EvqState to;
	const char *note;
} EvqTransition;

/* The table may have so many rows. */
#define EVQ_MAX_TRANSITIONS 32

extern const EvqTransition evq_transition_table[];
extern const int evq_transition_count;

extern int evq_transition_find(EvqState from, EvqVerb verb, EvqState to);
extern bool evq_transition_can(EvqState from, EvqVerb verb);
extern bool evq_transition_is_final(EvqState state);

extern const char *evq_transition_state_name(EvqState state);
extern const char *evq_transition_verb_name(EvqVerb verb);
extern char evq_transition_state_code(EvqState state);
extern EvqState evq_transition_state_from_code(char code);

#endif /* EVQ_TRANSITION_H */
