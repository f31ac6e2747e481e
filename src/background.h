/*
 * background.h
 *		What the background workers have in common.
 */
#ifndef EVQ_BACKGROUND_H
#define EVQ_BACKGROUND_H

#include "postmaster/bgworker.h"

extern void evq_background_describe(BackgroundWorker *worker, const char *role);
extern void evq_background_assign(BackgroundWorker *worker, Oid database, int place_index);
extern Oid evq_background_database(Datum main_arg);
extern int evq_background_place(Datum main_arg);

extern void evq_background_pin_settings(const char *application_name);
extern void evq_background_begin(const char *activity);
extern void evq_background_end(void);
extern void evq_background_abort(void);

#endif /* EVQ_BACKGROUND_H */
