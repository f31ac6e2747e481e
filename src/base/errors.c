/*
 * errors.c
 *		The context of errors in lists.
 */
#include "postgres.h"

#include "base/errors.h"

static void
tell_position(void *arg)
{
	const EvqPosition *position = arg;

	if (position->what != NULL)
		errcontext("%s number %d", position->what, position->index + 1);
}

/*
 * From here to evq_position_end() errors tell the position; the caller moves its
 * index along. position belongs to the caller, whose function must not return in
 * between. what: names one element, and lives as long; NULL = say nothing.
 */
void
evq_position_begin(EvqPosition *position, const char *what)
{
	position->callback.callback = tell_position;
	position->callback.arg = position;
	position->callback.previous = error_context_stack;
	position->what = what;
	position->index = 0;
	error_context_stack = &position->callback;
}

/*
 * Errors do not tell the position any more. One that is raised before leaves by
 * itself: its handler resets the stack.
 */
void
evq_position_end(EvqPosition *position)
{
	error_context_stack = position->callback.previous;
}
