/*
 * headers.c
 *		The headers of a request that count, and whether they are put together as they must be.
 *
 * A proxy in front of us may read a sloppy header differently than we do, and so take for one request what we take for
 * two. So what can be read in two ways is refused.
 */
#include "headers.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

const char *const header_names[HEADER_COUNT] = {
	[HEADER_HOST] = "host",
	[HEADER_ORIGIN] = "origin",
	[HEADER_AUTHORIZATION] = "authorization",
	[HEADER_CONTENT_TYPE] = "content-type",
	[HEADER_CONTENT_ENCODING] = "content-encoding",
	[HEADER_CONTENT_LENGTH] = "content-length",
	[HEADER_TRANSFER_ENCODING] = "transfer-encoding",
	[HEADER_IF_NONE_MATCH] = "if-none-match",
	[HEADER_LAST_EVENT_ID] = "last-event-id",
	[HEADER_UPGRADE] = "upgrade",
	[HEADER_SEC_WEBSOCKET_KEY] = "sec-websocket-key",
	[HEADER_SEC_WEBSOCKET_VERSION] = "sec-websocket-version",
	[HEADER_SEC_WEBSOCKET_PROTOCOL] = "sec-websocket-protocol",
	[HEADER_ACCESS_CONTROL_REQUEST_METHOD] = "access-control-request-method",
	[HEADER_USER_AGENT] = "user-agent",
	[HEADER_ACCEPT] = "accept",
	[HEADER_IDEMPOTENCY_KEY] = "idempotency-key",
	[HEADER_MCP_PROTOCOL_VERSION] = "mcp-protocol-version",
	[HEADER_MCP_METHOD] = "mcp-method",
	[HEADER_MCP_NAME] = "mcp-name",
};

typedef struct Reading
{
	Headers *headers;
	const char *problem;
	uintptr_t line_end; /* where the last line's text ended, in the buffer of the connection */
} Reading;

static bool
is_token(const char *text)
{
	return *text != '\0' &&
		   text[strspn(text,
					   "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")] ==
			   '\0';
}

static bool
has_control_character(const char *text)
{
	for (; *text != '\0'; text++)
	{
		if (((unsigned char) *text < ' ' && *text != '\t') || *text == 127)
			return true;
	}
	return false;
}

/*
 * libmicrohttpd before 1.0 takes a bare LF for a line's end and folded lines for one, and cannot be told not to. But it
 * puts a NUL over each CR and LF and hands out the texts where they were received; so each begins two bytes behind the
 * end of the one before, or its line did not end in CRLF. Since 1.0 it refuses them itself, see server.c, and cuts off
 * blanks at the end of a line.
 */
static void
check_line_end(Reading *reading, const char *next)
{
	if (MHD_VERSION < 0x01000000 && (uintptr_t) next != reading->line_end + 2 && reading->problem == NULL)
		reading->problem = "a line of the header does not end in CRLF, is folded or has a NUL";
}

static enum MHD_Result
read_header(void *closure, enum MHD_ValueKind kind, const char *name, const char *value)
{
	Reading *reading = closure;

	(void) kind;
	if (value == NULL)
		value = "";
	check_line_end(reading, name);
	reading->line_end = (uintptr_t) value + strlen(value);
	if (reading->problem != NULL)
		return MHD_NO;
	if (!is_token(name) || has_control_character(value))
	{
		reading->problem = "a header has a character that is not allowed";
		return MHD_NO;
	}
	for (int i = 0; i < HEADER_COUNT; i++)
	{
		if (strcasecmp(name, header_names[i]) != 0)
			continue;
		if (reading->headers->values[i] != NULL)
		{
			reading->problem = "a header that may be there once is there twice";
			return MHD_NO;
		}
		reading->headers->values[i] = value;
	}
	return MHD_YES;
}

/* Returns what is wrong with them, NULL = nothing. */
const char *
headers_read(Headers *headers, struct MHD_Connection *connection, const char *method, const char *version)
{
	Reading reading = {.headers = headers, .line_end = (uintptr_t) version + strlen(version)};
	const union MHD_ConnectionInfo *size = MHD_get_connection_info(connection,
																   MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

	memset(headers, 0, sizeof(*headers));
	MHD_get_connection_values(connection, MHD_HEADER_KIND, read_header, &reading);
	if (reading.problem == NULL)
	{
		/* The last line and the empty one behind it. */
		reading.line_end += 2;
		check_line_end(&reading, method + size->header_size);
	}
	return reading.problem;
}
