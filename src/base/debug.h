/*
 * debug.h
 *		Points at which a test can hold a session.
 */
#ifndef EVQ_DEBUG_H
#define EVQ_DEBUG_H

extern void evq_debug_point(const char *name);

#endif /* EVQ_DEBUG_H */
