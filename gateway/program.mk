# evq-gateway: included by the Makefile, which knows PGXS' variables and EVQ_VERSION.

GATEWAY = gateway/evq-gateway
GATEWAY_FILES = $(sort $(shell find ui -type f)) gateway/openapi.json
GATEWAY_OBJS = $(sort $(patsubst %.c,%.o,$(wildcard gateway/*.c)) gateway/embedded.o)
GATEWAY_CFLAGS = -std=gnu11 -O2 -g -fPIE -fstack-protector-strong -D_FORTIFY_SOURCE=2 -Wall -Wextra -Wformat=2 \
	-Wmissing-prototypes -Wshadow $(if $(filter 1,$(WERROR)),-Werror)
GATEWAY_CPPFLAGS = -D_GNU_SOURCE -DEVQ_VERSION='"$(EVQ_VERSION)"' -isystem $(shell $(PG_CONFIG) --includedir)
GATEWAY_LDFLAGS = -pie -Wl,-z,relro,-z,now -L$(shell $(PG_CONFIG) --libdir)
GATEWAY_LIBS = -lmicrohttpd -lwslay -lpq -lgnutls

all: $(GATEWAY)
install: install-gateway
uninstall: uninstall-gateway
clean: clean-gateway

$(GATEWAY): $(GATEWAY_OBJS)
	$(CC) $(GATEWAY_CFLAGS) $(GATEWAY_LDFLAGS) -o $@ $^ $(GATEWAY_LIBS)

$(GATEWAY_OBJS): gateway/%.o: gateway/%.c $(wildcard gateway/*.h) evq.control
	$(CC) $(GATEWAY_CFLAGS) $(GATEWAY_CPPFLAGS) -Igateway -c -o $@ $<

gateway/embedded.c: gateway/embed $(GATEWAY_FILES)
	gateway/embed $(GATEWAY_FILES) > $@.tmp
	mv $@.tmp $@

.PHONY: install-gateway uninstall-gateway clean-gateway

install-gateway: $(GATEWAY)
	$(MKDIR_P) '$(DESTDIR)$(bindir)' '$(DESTDIR)$(mandir)/man1'
	$(INSTALL_PROGRAM) $(GATEWAY) '$(DESTDIR)$(bindir)/evq-gateway'
	$(INSTALL_DATA) gateway/evq-gateway.1 '$(DESTDIR)$(mandir)/man1/evq-gateway.1'

uninstall-gateway:
	rm -f '$(DESTDIR)$(bindir)/evq-gateway' '$(DESTDIR)$(mandir)/man1/evq-gateway.1'

clean-gateway:
	rm -f $(GATEWAY) $(GATEWAY_OBJS) gateway/embedded.c gateway/embedded.c.tmp
