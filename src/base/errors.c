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

/* From here on errors tell the position; the caller moves its index along. */
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

void
evq_position_end(EvqPosition *position)
{
	error_context_stack = position->callback.previous;
}
