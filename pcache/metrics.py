"""Metrics for Prometheus, under the name that programs import."""

from pcache.integrations.prometheus import PrometheusCollector

__all__ = ["PrometheusCollector"]
