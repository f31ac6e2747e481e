# evq-worker, built in the top folder and installed into PostgreSQL's bindir
# with its man page.  Included by the Makefile before PGXS.

WORKER_OBJS = $(patsubst %.c,%.o,$(sort $(wildcard worker/*.c)))
WORKER_MAN = worker/evq-worker.1
WORKER_SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all

SCRIPTS_built += evq-worker
EXTRA_CLEAN += $(WORKER_OBJS) evq-worker-sanitized

evq-worker: $(WORKER_OBJS)
	$(CC) $(CFLAGS) $(WORKER_OBJS) $(LDFLAGS) $(libpq) -o $@

# For the slow tests: the same program, which ends where it meets an error of memory.
sanitized: evq-worker-sanitized
evq-worker-sanitized: $(wildcard worker/*.[ch])
	$(CC) $(CPPFLAGS) $(CFLAGS) $(WORKER_SANITIZE) $(filter %.c,$^) $(LDFLAGS) $(libpq) -o $@

$(WORKER_OBJS) evq-worker-sanitized: override CPPFLAGS += -isystem $(includedir) -D_GNU_SOURCE -DEVQ_VERSION='"$(EVQ_VERSION)"'
$(WORKER_OBJS): $(wildcard worker/*.h) evq.control

install: install-worker-man
install-worker-man:
	$(MKDIR_P) '$(DESTDIR)$(mandir)/man1'
	$(INSTALL_DATA) $(WORKER_MAN) '$(DESTDIR)$(mandir)/man1/'

uninstall: uninstall-worker-man
uninstall-worker-man:
	rm -f '$(DESTDIR)$(mandir)/man1/$(notdir $(WORKER_MAN))'

.PHONY: sanitized install-worker-man uninstall-worker-man
