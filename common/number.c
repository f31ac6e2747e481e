/*
 * number.c
 *		Whole numbers as people write them.
 */
#include "number.h"

#include <errno.h>
#include <stdlib.h>

/* false = the text is no number, or none within these bounds. */
bool
number_read(const char *text, long least, long most, long *number)
{
	char *end;

	errno = 0;
	*number = strtol(text, &end, 10);
	return end != text && *end == '\0' && errno == 0 && *number >= least && *number <= most;
}
