/*
 * home.h
 *		Whether this database is the one that its data was written in, or a copy of it.
 */
#ifndef EVQ_HOME_H
#define EVQ_HOME_H

extern void evq_home_init(void);
extern void evq_home_settle(void);

#endif /* EVQ_HOME_H */
