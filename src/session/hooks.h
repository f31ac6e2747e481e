/*
 * hooks.h
 *		Commands that the engine must know of.
 */
#ifndef EVQ_HOOKS_H
#define EVQ_HOOKS_H

extern void evq_hooks_init(void);

#endif /* EVQ_HOOKS_H */
