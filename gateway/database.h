/*
 * database.h
 *		Statements in the database, many at once.
 */
#ifndef EVQ_GATEWAY_DATABASE_H
#define EVQ_GATEWAY_DATABASE_H

#include <stdbool.h>

#include "line.h"

extern void database_start(void);
extern void database_stop(void);
extern int database_sessions(void);
extern bool database_submit(Call *call);
extern void database_abandon(Call *call);

#endif /* EVQ_GATEWAY_DATABASE_H */
