/*
 * background.h
 *		What the background workers have in common.
 */
#ifndef EVQ_BACKGROUND_H
#define EVQ_BACKGROUND_H

#include "postmaster/bgworker.h"

extern void evq_background_describe(BackgroundWorker *worker, const char *role);
extern void evq_background_assign(BackgroundWorker *worker, Oid database, int slot_index, const char *name);
extern Oid evq_background_database(void);
extern int evq_background_slot(void);
extern char *evq_background_database_name(void);

extern void evq_background_pin_settings(const char *application_name);
extern void evq_background_begin(const char *activity);
extern void evq_background_end(void);
extern void evq_background_abort(void);

#endif /* EVQ_BACKGROUND_H */
