/*
 * background.h
 *		What the background workers of a database have in common.
 */
#ifndef EVQ_BACKGROUND_H
#define EVQ_BACKGROUND_H

extern void evq_background_pin_settings(const char *application_name);
extern void evq_background_begin(const char *activity);
extern void evq_background_end(void);

#endif /* EVQ_BACKGROUND_H */
