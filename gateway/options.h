/*
 * options.h
 *		What the program was started with.
 */
#ifndef EVQ_GATEWAY_OPTIONS_H
#define EVQ_GATEWAY_OPTIONS_H

#include <stdbool.h>

#include "hosts.h"
#include "tokens.h"

/* Times are in seconds, sizes in bytes. */
typedef struct Options
{
	const char *listen;
	int port;
	const char *database; /* connection string; NULL = as libpq's environment says */
	int connections;
	const char *token_file;
	const char *anonymous_role;
	Hosts hosts;
	const char *tls_certificate;
	const char *tls_key;
	bool insecure;
	bool mcp_write;
	bool mcp_stdio;
	int max_header;
	int max_body;
	int max_connections;
	int max_connections_per_client;
	int stream_backlog;
	int statement_timeout;
	int header_timeout;
	int body_timeout;
	int idle_timeout;
	int stop_timeout;
} Options;

extern Options options;
extern Tokens tokens; /* of the token file */

extern void options_read(int argc, char **argv);
extern bool options_load_tokens(void);
extern char *options_read_file(const char *path, size_t *length);

#endif /* EVQ_GATEWAY_OPTIONS_H */
