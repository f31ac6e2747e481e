/*
 * json.h
 *		JSON strings: all the JSON that the gateway writes itself.
 */
#ifndef EVQ_GATEWAY_JSON_H
#define EVQ_GATEWAY_JSON_H

#include "buffer.h"

extern void json_string(Buffer *buffer, const char *text);
extern void json_pair(Buffer *buffer, const char *name, const char *text);

#endif /* EVQ_GATEWAY_JSON_H */
