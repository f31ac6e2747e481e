/*
 * launcher.h
 *		The background worker that starts dispatchers.
 */
#ifndef EVQ_LAUNCHER_H
#define EVQ_LAUNCHER_H

#include "postgres_ext.h"

extern void evq_launcher_init(void);
extern PGDLLEXPORT void evq_launcher_main(Datum main_arg);

#endif /* EVQ_LAUNCHER_H */
