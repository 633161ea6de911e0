#!/bin/sh
# The ACPI power button.
exec /sbin/poweroff
