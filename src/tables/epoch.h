/*
 * epoch.h
 *		The epoch: what makes the permits of this server, in this database, differ from all others.
 */
#ifndef EVQ_EPOCH_H
#define EVQ_EPOCH_H

extern void evq_epoch_init(void);
extern int32 evq_epoch(bool *begun);

#endif /* EVQ_EPOCH_H */
