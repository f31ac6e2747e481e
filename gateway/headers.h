/*
 * headers.h
 *		The headers of a request that count, and whether they are put together as they must be.
 */
#ifndef EVQ_GATEWAY_HEADERS_H
#define EVQ_GATEWAY_HEADERS_H

#include <microhttpd.h>
#include <stdbool.h>

typedef enum HeaderName
{
	HEADER_HOST,
	HEADER_ORIGIN,
	HEADER_AUTHORIZATION,
	HEADER_CONTENT_TYPE,
	HEADER_CONTENT_ENCODING,
	HEADER_CONTENT_LENGTH,
	HEADER_TRANSFER_ENCODING,
	HEADER_IF_NONE_MATCH,
	HEADER_LAST_EVENT_ID,
	HEADER_UPGRADE,
	HEADER_SEC_WEBSOCKET_KEY,
	HEADER_SEC_WEBSOCKET_VERSION,
	HEADER_SEC_WEBSOCKET_PROTOCOL,
	HEADER_ACCESS_CONTROL_REQUEST_METHOD,
	HEADER_USER_AGENT,
	/* From here on they are handed to the SQL functions. */
	HEADER_ACCEPT,
	HEADER_IDEMPOTENCY_KEY,
	HEADER_MCP_PROTOCOL_VERSION,
	HEADER_MCP_METHOD,
	HEADER_MCP_NAME,
	HEADER_COUNT
} HeaderName;

#define HEADER_FIRST_HANDED_ON HEADER_ACCEPT

extern const char *const header_names[HEADER_COUNT]; /* in lower case */

/* Values belong to the connection and stay until the request is done; NULL = not there. */
typedef struct Headers
{
	const char *values[HEADER_COUNT];
} Headers;

extern const char *
headers_read(Headers *headers, struct MHD_Connection *connection, const char *method, const char *version);

#endif /* EVQ_GATEWAY_HEADERS_H */
