/*
 * access.h
 *		Whose token a request has, and whether it still counts.
 */
#ifndef EVQ_GATEWAY_ACCESS_H
#define EVQ_GATEWAY_ACCESS_H

#include "request.h"

extern bool access_admit(Request *request);
extern bool access_holds(const char *token, const char *role);
extern bool access_confirm(Request *request);

#endif /* EVQ_GATEWAY_ACCESS_H */
