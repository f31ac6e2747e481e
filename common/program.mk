# How the programs on libpq are built: in the top folder, installed into
# PostgreSQL's bindir with their man pages.  Included by the Makefile before PGXS.

COMMON_FILES = $(sort $(wildcard common/*.c))
COMMON_OBJS = $(COMMON_FILES:.c=.o)
PROGRAM_CPPFLAGS = -Icommon -isystem $(includedir) -D_GNU_SOURCE -DEVQ_VERSION='"$(EVQ_VERSION)"' -pthread
PROGRAM_LDFLAGS = -pthread
PROGRAM_SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all

EXTRA_CLEAN += $(COMMON_OBJS)
$(COMMON_OBJS): override CPPFLAGS += $(PROGRAM_CPPFLAGS)
$(COMMON_OBJS): $(wildcard common/*.h)

# $(eval $(call program,NAME,LIBRARIES,FILE)): evq-NAME, of all that is in the folder NAME, and of FILE.
define program
SCRIPTS_built += evq-$(1)
EXTRA_CLEAN += $(patsubst %.c,%.o,$(wildcard $(1)/*.c)) evq-$(1)-sanitized

evq-$(1): $(patsubst %.c,%.o,$(sort $(wildcard $(1)/*.c))) $$(COMMON_OBJS) $(3)
	$$(CC) $$(CFLAGS) $$^ $$(LDFLAGS) $$(PROGRAM_LDFLAGS) $$(libpq) $(2) -o $$@

# For the slow tests: the same program, which ends where it meets an error of memory.
sanitized: evq-$(1)-sanitized
evq-$(1)-sanitized: $(wildcard $(1)/*.[ch] common/*.[ch]) $(3)
	$$(CC) $$(CPPFLAGS) $$(CFLAGS) $$(PROGRAM_SANITIZE) $$(filter %.c %.s,$$^) $$(LDFLAGS) $$(PROGRAM_LDFLAGS) $$(libpq) $(2) -o $$@

$(patsubst %.c,%.o,$(wildcard $(1)/*.c)) evq-$(1)-sanitized: override CPPFLAGS += $$(PROGRAM_CPPFLAGS)
$(patsubst %.c,%.o,$(wildcard $(1)/*.c)): $(wildcard $(1)/*.h common/*.h) evq.control

install: install-$(1)-man
install-$(1)-man:
	$$(MKDIR_P) '$$(DESTDIR)$$(mandir)/man1'
	$$(INSTALL_DATA) $(1)/evq-$(1).1 '$$(DESTDIR)$$(mandir)/man1/'

uninstall: uninstall-$(1)-man
uninstall-$(1)-man:
	rm -f '$$(DESTDIR)$$(mandir)/man1/evq-$(1).1'

.PHONY: sanitized install-$(1)-man uninstall-$(1)-man
endef
