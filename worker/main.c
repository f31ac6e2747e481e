/*
 * main.c
 *		evq-worker: runs a program once for each event of a flow.
 */
#include <stdlib.h>
#include <sysexits.h>

#include "log.h"
#include "loop.h"
#include "memory.h"

static void
end_without_memory(void)
{
	log_write(LOG_ERROR, "out of memory", NULL);
	exit(EX_OSERR);
}

int
main(int argc, char **argv)
{
	static Options options;

	memory_ran_out = end_without_memory;
	options_read(argc, argv, &options);
	return loop_run(&options);
}
