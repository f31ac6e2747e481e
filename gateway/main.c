/*
 * main.c
 *		evq over HTTP: an event loop, libmicrohttpd on one side, libpq on the other.
 */
#include <signal.h>

#include "database.h"
#include "listener.h"
#include "log.h"
#include "loop.h"
#include "options.h"
#include "server.h"
#include "mcp_stdio.h"
#include "stream.h"
#include "wait.h"

static void
load_tokens(void)
{
	if (!options_load_tokens())
		return;
	stream_review();
	wait_review();
}

int
main(int argc, char **argv)
{
	options_read(argc, argv);
	if (options.mcp_stdio)
		return mcp_stdio_serve();
	if (!options_load_tokens())
		return 1;
	signal(SIGPIPE, SIG_IGN);
	loop_init();
	loop_on_signal(SIGTERM, server_stop);
	loop_on_signal(SIGINT, server_stop);
	loop_on_signal(SIGHUP, load_tokens);
	stream_start();
	database_start();
	listener_start();
	server_start();
	loop_run(server_turn);
	database_stop();
	server_close();
	listener_stop();
	log_write(LOG_LEVEL_INFO, "stopped");
	return 0;
}
