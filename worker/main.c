/*
 * main.c
 *		evq-worker: runs a program once for each event of a flow.
 */
#include "loop.h"

int
main(int argc, char **argv)
{
	static Options options;

	options_read(argc, argv, &options);
	return loop_run(&options);
}
