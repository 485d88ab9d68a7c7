/* Registers of the nRF52840 that the port uses (Product Specification 1.7). All access goes through two functions, so
 * that tests on a PC can put a model behind them. */
#ifndef TINYFED_NRF52_REGISTERS_H
#define TINYFED_NRF52_REGISTERS_H

#include <stdint.h>

#ifdef TINYFED_NRF52_MODEL
void tinyfed_nrf52_write(uint32_t address, uint32_t value);
uint32_t tinyfed_nrf52_read(uint32_t address);
/* What EasyDMA is given for a place in RAM. */
uint32_t tinyfed_nrf52_dma(const void *place);
void tinyfed_nrf52_barrier(void);
#else
static inline void tinyfed_nrf52_write(uint32_t address, uint32_t value) { *(volatile uint32_t *)address = value; }
static inline uint32_t tinyfed_nrf52_read(uint32_t address) { return *(volatile uint32_t *)address; }
static inline uint32_t tinyfed_nrf52_dma(const void *place) { return (uint32_t)(uintptr_t)place; }
/* A write to flash has left the processor's buffer before a register is read. */
static inline void tinyfed_nrf52_barrier(void) { __asm volatile("dmb" ::: "memory"); }
#endif

#define NRF52_CLOCK_HFCLKSTART 0x40000000u
#define NRF52_CLOCK_HFCLKSTARTED 0x40000100u
#define NRF52_RESETREAS 0x40000400u
#define NRF52_APPROTECT_DISABLE 0x40000558u

#define NRF52_UARTE 0x40002000u
#define NRF52_UARTE_STARTRX (NRF52_UARTE + 0x000u)
#define NRF52_UARTE_STOPRX (NRF52_UARTE + 0x004u)
#define NRF52_UARTE_STARTTX (NRF52_UARTE + 0x008u)
#define NRF52_UARTE_FLUSHRX (NRF52_UARTE + 0x02Cu)
#define NRF52_UARTE_RXDRDY (NRF52_UARTE + 0x108u)
#define NRF52_UARTE_ENDRX (NRF52_UARTE + 0x110u)
#define NRF52_UARTE_ENDTX (NRF52_UARTE + 0x120u)
#define NRF52_UARTE_ERROR (NRF52_UARTE + 0x124u)
#define NRF52_UARTE_RXTO (NRF52_UARTE + 0x144u)
#define NRF52_UARTE_RXSTARTED (NRF52_UARTE + 0x14Cu)
#define NRF52_UARTE_SHORTS (NRF52_UARTE + 0x200u)
#define NRF52_UARTE_INTENSET (NRF52_UARTE + 0x304u)
#define NRF52_UARTE_INTENCLR (NRF52_UARTE + 0x308u)
#define NRF52_UARTE_ERRORSRC (NRF52_UARTE + 0x480u)
#define NRF52_UARTE_ENABLE (NRF52_UARTE + 0x500u)
#define NRF52_UARTE_PSEL_TXD (NRF52_UARTE + 0x50Cu)
#define NRF52_UARTE_PSEL_RXD (NRF52_UARTE + 0x514u)
#define NRF52_UARTE_BAUDRATE (NRF52_UARTE + 0x524u)
#define NRF52_UARTE_RXD_PTR (NRF52_UARTE + 0x534u)
#define NRF52_UARTE_RXD_MAXCNT (NRF52_UARTE + 0x538u)
#define NRF52_UARTE_TXD_PTR (NRF52_UARTE + 0x544u)
#define NRF52_UARTE_TXD_MAXCNT (NRF52_UARTE + 0x548u)
#define NRF52_UARTE_SHORT_ENDRX_STARTRX (1u << 5)
#define NRF52_UARTE_INT_RXDRDY (1u << 2)
#define NRF52_UARTE_INT_ENDTX (1u << 8)
#define NRF52_UARTE_INT_ERROR (1u << 9)
#define NRF52_UARTE_INT_RXSTARTED (1u << 19)

#define NRF52_TIMER0 0x40008000u
#define NRF52_TIMER1 0x40009000u
#define NRF52_TIMER_START 0x000u
#define NRF52_TIMER_COUNT 0x008u
#define NRF52_TIMER_CLEAR 0x00Cu
#define NRF52_TIMER_CAPTURE(n) (0x040u + 4u * (n))
#define NRF52_TIMER_COMPARE(n) (0x140u + 4u * (n))
#define NRF52_TIMER_INTENSET 0x304u
#define NRF52_TIMER_INTENCLR 0x308u
#define NRF52_TIMER_MODE 0x504u
#define NRF52_TIMER_BITMODE 0x508u
#define NRF52_TIMER_PRESCALER 0x510u
#define NRF52_TIMER_CC(n) (0x540u + 4u * (n))
#define NRF52_TIMER_INT_COMPARE(n) (1u << (16u + (n)))

#define NRF52_WDT_START 0x40010000u
#define NRF52_WDT_CRV 0x40010504u
#define NRF52_WDT_RREN 0x40010508u
#define NRF52_WDT_CONFIG 0x4001050Cu
#define NRF52_WDT_RR0 0x40010600u

#define NRF52_NVMC_READY 0x4001E400u
#define NRF52_NVMC_CONFIG 0x4001E504u /* 0 read, 1 write, 2 erase */
#define NRF52_NVMC_ERASEPAGEPARTIAL 0x4001E518u
#define NRF52_NVMC_ERASEPAGEPARTIALCFG 0x4001E51Cu /* milliseconds */
#define NRF52_NVMC_ICACHECNF 0x4001E540u
#define NRF52_PPI_CHENSET 0x4001F504u
#define NRF52_PPI_EEP(n) (0x4001F510u + 8u * (n))
#define NRF52_PPI_TEP(n) (0x4001F514u + 8u * (n))
#define NRF52_FICR_DEVICEID 0x10000060u
#define NRF52_FICR_PART 0x10000130u
#define NRF52_FICR_VARIANT 0x10000134u
#define NRF52_UICR_PSELRESET(n) (0x10001200u + 4u * (n))
#define NRF52_UICR_APPROTECT 0x10001208u
#define NRF52_P0_OUTSET 0x50000508u
#define NRF52_P0_PIN_CNF(pin) (0x50000700u + 4u * (pin))

/* What a running timer has come to. */
static inline uint32_t tinyfed_nrf52_capture(uint32_t timer, uint32_t channel)
{
    tinyfed_nrf52_write(timer + NRF52_TIMER_CAPTURE(channel), 1u);
    return tinyfed_nrf52_read(timer + NRF52_TIMER_CC(channel));
}

#endif
